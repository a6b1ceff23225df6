{{/*
What the bridge would refuse at its start, or Kubernetes at the installation, one line for each value that is wrong. What
a value may be by itself, values.schema.json says; here stands what depends on other values or needs words of its own.
The bridge's own checks: bridge/settings/ in its repository. templates/refusals.yaml fails with these lines.
*/}}
{{- define "wallet-bridge.refusals" -}}
{{- include "wallet-bridge.refusals.engine" . }}
{{- include "wallet-bridge.refusals.callers" . }}
{{- include "wallet-bridge.refusals.wallet" . }}
{{- range $code, $rule := .Values.codes }}
{{- include "wallet-bridge.refusals.code" (dict "code" $code "rule" $rule) }}
{{- end }}
{{- include "wallet-bridge.refusals.settlement" . }}
{{- include "wallet-bridge.refusals.pods" . }}
{{- end }}

{{- define "wallet-bridge.refusals.engine" -}}
{{- with .Values.settings.server }}
{{- if eq .engine "native" }}
{{- if not .native_trusts_callers }}
settings.server.native_trusts_callers: must be true with engine: native, which inflates a compressed message before it knows its size: set it where all callers are trusted, or a proxy refuses compressed requests (docs/operations.md, "Engines"); or use grpcio
{{- end }}
{{- if .connection_age_s }}
settings.server.connection_age_s: must be 0 with engine: native, which cannot close connections by age
{{- end }}
{{- if $.Values.serverTls.secretName }}
serverTls.secretName: cannot be set with engine: native, which has no TLS; leave it out, or use grpcio
{{- end }}
{{- end }}
{{- if gt (int .max_in_flight_per_provider) (int .max_in_flight) }}
settings.server.max_in_flight_per_provider: must be a whole number from 1 to settings.server.max_in_flight
{{- end }}
{{- end }}
{{- end }}

{{- define "wallet-bridge.refusals.callers" -}}
{{- with .Values.serverTls }}
{{- if and .clientCa (not .secretName) }}
serverTls.clientCa: needs serverTls.secretName too: only TLS asks callers for certificates
{{- end }}
{{- if and .allowedIdentities (not .clientCa) }}
serverTls.allowedIdentities: needs serverTls.clientCa too: it says whose certificates prove an identity
{{- end }}
{{- end }}
{{- range $key, $list := dict "serverTls" .Values.serverTls.allowedIdentities "settlement" .Values.settlement.allowedIdentities }}
{{- range $list }}
{{- if not (include "wallet-bridge.isIdentity" .) }}
{{ $key }}.allowedIdentities: must be DNS names or URIs as client certificates have them; "*" only as the last segment of a spiffe:// URI
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Not empty for a DNS name, a spiffe:// URI, maybe with "*" as its last segment, or another URI. */}}
{{- define "wallet-bridge.isIdentity" -}}
{{- if hasPrefix "spiffe://" . }}
{{- $isId := regexMatch "^spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)*(/\\*)?$" . }}
{{- and $isId (not (regexMatch "^spiffe://.*/[.]{1,2}(/|$)" .)) (le (len (trimSuffix "/*" .)) 2048) | ternary "yes" "" }}
{{- else if contains ":" . }}
{{- and (regexMatch "^[A-Za-z][A-Za-z0-9+.-]*:[!-)+-~]+$" .) (not (regexMatch "^(?i)spiffe:" .)) | ternary "yes" "" }}
{{- else }}
{{- and (regexMatch "^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$" .) (not (regexMatch "^[0-9.]+$" .)) | ternary "yes" "" }}
{{- end }}
{{- end }}

{{- define "wallet-bridge.refusals.wallet" -}}
{{- with .Values.settings.wallet }}
{{- if not (include "wallet-bridge.isWalletUrl" .url) }}
settings.wallet.url: must be the wallet's address, like https://wallet.example: scheme, host, port and path, without user, query and "." as a segment
{{- else if and (hasPrefix "http:" (lower .url)) (not .allow_plaintext) }}
settings.wallet.url: must be https:// unless settings.wallet.allow_plaintext: true
{{- end }}
{{- if and .deadline_default_s (lt (float64 .deadline_max_s) (float64 .deadline_default_s)) }}
settings.wallet.deadline_max_s: must be at least settings.wallet.deadline_default_s
{{- end }}
{{- end }}
{{- end }}

{{/* Not empty for a URL of the wallet. */}}
{{- define "wallet-bridge.isWalletUrl" -}}
{{- $segment := "([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+" }}
{{- $isUrl := regexMatch (printf "^(?i:https?)://%s(/%s)*/?$" (include "wallet-bridge.authority" .) $segment) . }}
{{- and $isUrl (ne (include "wallet-bridge.hasHost" .) "") (not (regexMatch "//.*/[.]{1,2}(/|$)" .)) | ternary "yes" "" }}
{{- end }}

{{/* A pattern of host and port, the host not looked at closely. */}}
{{- define "wallet-bridge.authority" -}}
(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(:0{0,4}([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?
{{- end }}

{{/* Not empty for a URL whose host is a name, an IPv4 address, or an IPv6 address in brackets. */}}
{{- define "wallet-bridge.hasHost" -}}
{{- $host := regexReplaceAll "^[A-Za-z]+://(\\[[^]]*\\]|[^:/?#]*).*$" . "${1}" }}
{{- $label := "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?" }}
{{- $byte := "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])" }}
{{- if hasPrefix "[" $host }}
{{- regexMatch "^\\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\\]$" $host | ternary "yes" "" }}
{{- else if regexMatch "(^|[.])[0-9]+$" $host }}
{{- regexMatch (printf "^%s([.]%s){3}$" $byte $byte) $host | ternary "yes" "" }}
{{- else }}
{{- and (regexMatch (printf "^%s([.]%s)*$" $label $label) $host) (le (len $host) 253) | ternary "yes" "" }}
{{- end }}
{{- end }}

{{/* One of the wallet's codes: what it means. */}}
{{- define "wallet-bridge.refusals.code" -}}
{{- $key := printf "codes.%s" .code }}
{{- if eq .code "1" }}
{{ $key }}: cannot be mapped: code 1 is the wallet's success
{{- else if not (regexMatch (include "wallet-bridge.codePattern" .) .code) }}
{{ $key }}: must have a number from 0 to 18446744073709551615 as its last part, without leading zeros
{{- end }}
{{- with .rule | default (dict "success" false) }}
{{- if ne (empty .success | ternary 2 0) (add (empty .grpc | ternary 0 1) (empty .reason | ternary 0 1) | int) }}
{{ $key }}: must have either success: true alone, or both grpc and reason
{{- end }}
{{- if and .grpc (not (has .grpc (include "wallet-bridge.grpcCodes" . | splitList " "))) }}
{{ $key }}.grpc: must be the name of a gRPC code, like NOT_FOUND, but not OK
{{- end }}
{{- if has .reason (include "wallet-bridge.reasons" . | splitList " ") }}
{{ $key }}.reason: must be another reason: this one is the bridge's own
{{- end }}
{{- if and (eq $.code "2") .success }}
{{ $key }}.success: must be false: code 2 is an unknown error, never a success
{{- end }}
{{- if and (eq $.code "2") (eq (toString .grpc) "UNAVAILABLE") }}
{{ $key }}.grpc: must be another code: UNAVAILABLE means safe to repeat, code 2 is not
{{- end }}
{{- end }}
{{- end }}

{{/* From 0 to 2^64 - 1. */}}
{{- define "wallet-bridge.codePattern" -}}
^(0|[1-9][0-9]{0,18}|1[0-7][0-9]{18}|18[0-3][0-9]{17}|184[0-3][0-9]{16}|1844[0-5][0-9]{15}|18446[0-6][0-9]{14}|184467[0-3][0-9]{13}|1844674[0-3][0-9]{12}|184467440[0-6][0-9]{10}|1844674407[0-2][0-9]{9}|18446744073[0-6][0-9]{8}|1844674407370[0-8][0-9]{6}|18446744073709[0-4][0-9]{5}|184467440737095[0-4][0-9]{4}|18446744073709550[0-9]{3}|18446744073709551[0-5][0-9]{2}|1844674407370955160[0-9]{1}|1844674407370955161[0-5])$
{{- end }}

{{- define "wallet-bridge.grpcCodes" -}}
CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED
{{- end }}

{{/* The bridge's own. */}}
{{- define "wallet-bridge.reasons" -}}
BRIDGE_DRAINING BRIDGE_FAULT BRIDGE_OVERLOADED CALLER_NOT_ALLOWED DEADLINE_TOO_SHORT INVALID_REQUEST PROVIDER_NOT_CONFIGURED WALLET_AUTH_REJECTED WALLET_CONNECTION_LOST WALLET_ECHO_MISMATCH WALLET_ENDPOINT WALLET_GATEWAY_ERROR WALLET_INCONSISTENT WALLET_NOT_PROCESSED WALLET_REJECTED WALLET_RESPONSE_INVALID WALLET_THROTTLED WALLET_TIMEOUT WALLET_UNAVAILABLE WALLET_UNKNOWN_ERROR WALLET_UNREACHABLE
{{- end }}

{{- define "wallet-bridge.refusals.settlement" -}}
{{- with .Values.settlement }}
{{- if and (eq .store "sqlite") (or $.Values.autoscaling.enabled (ne (int $.Values.replicaCount) 1)) }}
settlement.store: sqlite is for one replica: set autoscaling.enabled=false and replicaCount=1, or use redis
{{- end }}
{{- if and (eq .store "redis") (not .redisUrl) }}
settlement.redisUrl: is missing; must be redis://host:6379/0 or rediss://host:6379/0 with settlement.store=redis
{{- end }}
{{- $isRedis := regexMatch (printf "^rediss?://%s(/[0-9]{0,5})?$" (include "wallet-bridge.authority" .)) .redisUrl }}
{{- if and .redisUrl (not (and $isRedis (include "wallet-bridge.hasHost" .redisUrl))) }}
settlement.redisUrl: must be redis://host:6379/0 or rediss://host:6379/0, host and port as they are, and the number of a database
{{- end }}
{{- if and (ne .store "redis") (or .redisUrl .redisPassword) }}
settlement.store: must be redis where settlement.redisUrl or settlement.redisPassword is set; or leave these out
{{- end }}
{{- if and .allowedIdentities (not .store) }}
settlement.allowedIdentities: needs settlement.store too: without a store there are no settlements to list
{{- end }}
{{- if and .allowedIdentities (not $.Values.serverTls.clientCa) }}
settlement.allowedIdentities: needs serverTls.clientCa too: it proves identities
{{- end }}
{{- end }}
{{- end }}

{{- define "wallet-bridge.refusals.pods" -}}
{{- with .Values.autoscaling }}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) }}
autoscaling.maxReplicas: must be at least autoscaling.minReplicas
{{- end }}
{{- if and (not .enabled) (lt (int $.Values.replicaCount) 2) (ne $.Values.settlement.store "sqlite") }}
replicaCount: must be 2 or more; only settlement.store=sqlite is for one
{{- end }}
{{- end }}
{{- if and .Values.grpcRoute.enabled (not .Values.grpcRoute.parentRefs) }}
grpcRoute.parentRefs: is missing; must be the Gateway that the route is for, like [{name: my-gateway, namespace: gateways}]
{{- end }}
{{- end }}
