{{/* Where the bridge may go: name servers, the wallet, Redis, and what networkPolicy.extraEgress adds. */}}
{{- define "wallet-bridge.egress" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
      podSelector:
        matchLabels:
          k8s-app: kube-dns
  ports:
    - protocol: UDP
      port: 53
    - protocol: TCP
      port: 53
{{ include "wallet-bridge.egressRule" (dict "cidrs" .Values.networkPolicy.walletCidrs "port" (include "wallet-bridge.walletPort" .)) }}
{{- if eq .Values.settlement.store "redis" }}
{{ include "wallet-bridge.egressRule" (dict "cidrs" .Values.networkPolicy.redisCidrs "port" (include "wallet-bridge.redisPort" .)) }}
{{- end }}
{{- with .Values.networkPolicy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "wallet-bridge.egressRule" -}}
- to:
    {{- range .cidrs }}
    - ipBlock:
        cidr: {{ . }}
    {{- end }}
  ports:
    - protocol: TCP
      port: {{ .port }}
{{- end }}
