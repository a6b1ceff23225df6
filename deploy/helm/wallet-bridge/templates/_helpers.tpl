{{/* Ports of the pod. */}}
{{- define "wallet-bridge.ports" -}}
grpc: 50051
health: 50052
metrics: 9464
{{- end }}

{{/* Where Secrets are mounted. */}}
{{- define "wallet-bridge.mounts" -}}
config: /etc/wallet-bridge
keys: /run/secrets/wallet-bridge
serverTls: /run/secrets/server-tls
walletCa: /run/secrets/wallet-ca
walletTls: /run/secrets/wallet-tls
settlement: /var/lib/wallet-bridge
{{- end }}

{{- define "wallet-bridge.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 54 | trimSuffix "-" }}
{{- end }}

{{/* 54: "-headless" must fit behind it in the 63 characters of a name. */}}
{{- define "wallet-bridge.fullname" -}}
{{- $name := include "wallet-bridge.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 54 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 54 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 54 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "wallet-bridge.selector" -}}
app.kubernetes.io/name: {{ include "wallet-bridge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "wallet-bridge.labels" -}}
{{ include "wallet-bridge.selector" . }}
app.kubernetes.io/component: bridge
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "wallet-bridge.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{/* How long a drain may take: server.drain_s, the longest call, and 5 seconds to end. */}}
{{- define "wallet-bridge.graceSeconds" -}}
{{- addf .Values.settings.server.drain_s .Values.settings.wallet.deadline_max_s 5 | ceil | int }}
{{- end }}

{{/* The port of settings.wallet.url. */}}
{{- define "wallet-bridge.walletPort" -}}
{{- $url := .Values.settings.wallet.url }}
{{- $given := regexFind ":[0-9]+(/|$)" $url | trimPrefix ":" | trimSuffix "/" }}
{{- $given | default (hasPrefix "http:" (lower $url) | ternary "80" "443") }}
{{- end }}

{{/* The port of settlement.redisUrl. */}}
{{- define "wallet-bridge.redisPort" -}}
{{- regexFind ":[0-9]+(/|$)" .Values.settlement.redisUrl | trimPrefix ":" | trimSuffix "/" | default "6379" }}
{{- end }}

{{/* The URL of the settlement store. */}}
{{- define "wallet-bridge.settlementStore" -}}
{{- $mounts := include "wallet-bridge.mounts" . | fromYaml }}
{{- with .Values.settlement }}
{{- if eq .store "sqlite" }}
{{- printf "sqlite://%s/settlement.db" $mounts.settlement }}
{{- else }}
{{- .redisUrl }}{{ if .redisPassword }}?password_file={{ $mounts.keys }}/redis-password{{ end }}
{{- end }}
{{- end }}
{{- end }}

{{/* One TOML line for each value. JSON's texts, numbers, booleans and lists of texts are TOML's, too. */}}
{{- define "wallet-bridge.lines" -}}
{{- range $key, $value := . }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{- end }}

{{- define "wallet-bridge.toml" -}}
{{- $ports := include "wallet-bridge.ports" . | fromYaml }}
{{- $mounts := include "wallet-bridge.mounts" . | fromYaml -}}
[server]
listen = "0.0.0.0:{{ $ports.grpc }}"
health_listen = "0.0.0.0:{{ $ports.health }}"
{{- with .Values.serverTls }}
{{- if .secretName }}
tls_certificate_file = "{{ $mounts.serverTls }}/tls.crt"
tls_key_file = "{{ $mounts.serverTls }}/tls.key"
{{- if .clientCa }}
tls_client_ca_file = "{{ $mounts.serverTls }}/ca.crt"
{{- end }}
{{- with .allowedIdentities }}
allowed_identities = {{ toJson . }}
{{- end }}
{{- end }}
{{- end }}
{{- include "wallet-bridge.lines" .Values.settings.server }}

[wallet]
{{- with .Values.walletTls }}
{{- if .caSecretName }}
ca_file = "{{ $mounts.walletCa }}/ca.crt"
{{- end }}
{{- if .clientSecretName }}
client_certificate_file = "{{ $mounts.walletTls }}/tls.crt"
client_key_file = "{{ $mounts.walletTls }}/tls.key"
{{- end }}
{{- end }}
{{- include "wallet-bridge.lines" .Values.settings.wallet }}
{{- range .Values.providers }}

[wallet.providers.{{ . }}]
access_key_file = "{{ $mounts.keys }}/access-key-{{ . }}"
private_key_file = "{{ $mounts.keys }}/private-key-{{ . }}"
{{- end }}
{{- range $code, $rule := .Values.codes }}

[wallet.codes.{{ $code }}]
{{- include "wallet-bridge.lines" $rule }}
{{- end }}
{{- if .Values.settlement.store }}

[settlement]
store = {{ include "wallet-bridge.settlementStore" . | toJson }}
key_file = "{{ $mounts.keys }}/settlement-key"
{{- with .Values.settlement.allowedIdentities }}
allowed_identities = {{ toJson . }}
{{- end }}
{{- include "wallet-bridge.lines" .Values.settings.settlement }}
{{- end }}

[telemetry]
metrics_listen = "0.0.0.0:{{ $ports.metrics }}"
fingerprint_key_file = "{{ $mounts.keys }}/fingerprint-key"
{{- include "wallet-bridge.lines" .Values.settings.telemetry }}
{{- end }}
