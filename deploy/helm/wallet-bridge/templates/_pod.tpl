{{/* What the bridge's pods and those of `helm test` have in common. */}}

{{- define "wallet-bridge.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "wallet-bridge.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop:
    - ALL
{{- end }}

{{/* Where bridge.toml and the files that it names are mounted: where each comes from, "wallet-bridge.fileVolumes" says. */}}
{{- define "wallet-bridge.fileMounts" -}}
{{- $mounts := include "wallet-bridge.mounts" . | fromYaml -}}
# Folders, never a subPath: Kubernetes does not update those, and the bridge would miss a rotation.
- name: config
  mountPath: {{ $mounts.config }}
  readOnly: true
- name: keys
  mountPath: {{ $mounts.keys }}
  readOnly: true
{{- if .Values.serverTls.secretName }}
- name: server-tls
  mountPath: {{ $mounts.serverTls }}
  readOnly: true
{{- end }}
{{- if .Values.walletTls.caSecretName }}
- name: wallet-ca
  mountPath: {{ $mounts.walletCa }}
  readOnly: true
{{- end }}
{{- if .Values.walletTls.clientSecretName }}
- name: wallet-tls
  mountPath: {{ $mounts.walletTls }}
  readOnly: true
{{- end }}
{{- end }}

{{- define "wallet-bridge.fileVolumes" -}}
- name: config
  configMap:
    name: {{ include "wallet-bridge.fullname" . }}-config
- name: keys
  secret:
    secretName: {{ .Values.keys.secretName }}
    defaultMode: 0440
{{- with .Values.serverTls.secretName }}
- name: server-tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with .Values.walletTls.caSecretName }}
- name: wallet-ca
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with .Values.walletTls.clientSecretName }}
- name: wallet-tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end }}

{{/* The labels of the pods of `helm test`: not the bridge's, or its Services would lead to them. */}}
{{- define "wallet-bridge.testSelector" -}}
app.kubernetes.io/name: {{ include "wallet-bridge.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "wallet-bridge.testMetadata" -}}
labels:
  {{- include "wallet-bridge.testSelector" . | nindent 2 }}
  app.kubernetes.io/component: test
  app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .Release.Service }}
  helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
  {{- if .Values.networkPolicy.enabled }}
  {{- toYaml .Values.networkPolicy.clientLabels | nindent 2 }}
  {{- end }}
annotations:
  helm.sh/hook: test
  helm.sh/hook-delete-policy: before-hook-creation
{{- end }}

{{- define "wallet-bridge.testPod" -}}
restartPolicy: Never
serviceAccountName: {{ include "wallet-bridge.fullname" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "wallet-bridge.podSecurity" . | nindent 2 }}
{{- end }}
