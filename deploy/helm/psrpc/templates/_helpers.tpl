{{- define "psrpc.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "psrpc.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "psrpc.labels" -}}
{{ include "psrpc.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "psrpc.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* The arguments that the gateway and the explorer share. */}}
{{- define "psrpc.busArgs" -}}
{{- with .Values.bus.prefix }}
- {{ printf "--prefix=%s" . | quote }}
{{- end }}
{{- range .Values.schema.files }}
- {{ printf "--descriptor-set=/etc/psrpc/schema/%s" . | quote }}
{{- end }}
{{- end }}

{{- define "psrpc.busEnv" -}}
- name: PSRPC_BUS
  valueFrom:
    secretKeyRef:
      name: {{ .Values.bus.secretName }}
      key: {{ .Values.bus.secretKey }}
{{- end }}

{{- define "psrpc.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
readOnlyRootFilesystem: true
{{- end }}

{{/* The fields of a pod that both have, after the containers. */}}
{{- define "psrpc.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.schema.configMapName }}
volumes:
  - name: schema
    configMap:
      name: {{ . }}
{{- end }}
{{- end }}

{{- define "psrpc.volumeMounts" -}}
{{- if .Values.schema.configMapName }}
volumeMounts:
  - name: schema
    mountPath: /etc/psrpc/schema
    readOnly: true
{{- end }}
{{- end }}
