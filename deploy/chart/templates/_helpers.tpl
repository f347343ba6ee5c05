{{- define "lockstep.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Names get a suffix of at most 17 characters. */}}
{{- define "lockstep.fullname" -}}
{{- $name := include "lockstep.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 46 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 46 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 46 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Arguments: root, component. */}}
{{- define "lockstep.selector" -}}
app.kubernetes.io/name: {{ include "lockstep.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Arguments: root, component. */}}
{{- define "lockstep.labels" -}}
{{ include "lockstep.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: lockstep
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Arguments: root, image. */}}
{{- define "lockstep.image" -}}
{{- $global := .root.Values.image -}}
{{- $name := .image.repository -}}
{{- if $global.registry -}}
{{- $name = printf "%s/%s" (trimSuffix "/" $global.registry) $name -}}
{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .root.Chart.AppVersion $global.tag) -}}
{{- end -}}
{{- end -}}

{{/* What both programs have in their environment. Arguments: root, bus. */}}
{{- define "lockstep.environment" -}}
- name: LOCKSTEP_BUS
  valueFrom:
    secretKeyRef:
      name: {{ default .root.Values.bus.existingSecret .bus.existingSecret }}
      key: {{ default .root.Values.bus.key .bus.key }}
- name: LOCKSTEP_LOG_FORMAT
  value: {{ .root.Values.logFormat }}
- name: RUST_LOG
  value: {{ .root.Values.logLevel | quote }}
{{- end -}}

{{- define "lockstep.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "lockstep.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Where pods run. The argument is the program's values. */}}
{{- define "lockstep.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "lockstep.workerServiceAccount" -}}
{{- $made := printf "%s-worker" (include "lockstep.fullname" .) -}}
{{- default (ternary $made "default" .Values.worker.serviceAccount.create) .Values.worker.serviceAccount.name -}}
{{- end -}}

{{- define "lockstep.workerNamespace" -}}
{{- default .Release.Namespace .Values.worker.namespace -}}
{{- end -}}
