{{- define "proactive.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "proactive.fullname" -}}
{{- $name := include "proactive.name" . -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- /* The name that resolves to the pods. */ -}}
{{- define "proactive.headless" -}}
{{ printf "%s-headless" (include "proactive.fullname" . | trunc 54 | trimSuffix "-") }}
{{- end }}

{{- /* What a balancer must speak: HTTP/2 from the first byte. */ -}}
{{- define "proactive.appProtocol" -}}
{{ ternary "https" "kubernetes.io/h2c" (not (empty .Values.tls.existingSecret)) }}
{{- end }}

{{- /* The same at the HTTP port. */ -}}
{{- define "proactive.httpAppProtocol" -}}
{{ ternary "https" "http" (not (empty .Values.tls.existingSecret)) }}
{{- end }}

{{- /* What leads to the HTTP port alone. */ -}}
{{- define "proactive.http" -}}
{{ printf "%s-http" (include "proactive.fullname" . | trunc 58 | trimSuffix "-") }}
{{- end }}

{{- /* The claim on the disk of users' logs. */ -}}
{{- define "proactive.claim" -}}
{{ default (printf "%s-logs" (include "proactive.fullname" . | trunc 58 | trimSuffix "-")) .Values.persistence.existingClaim }}
{{- end }}

{{- /* How many pods there may be. */ -}}
{{- define "proactive.mostPods" -}}
{{ ternary .Values.autoscaling.maxReplicas .Values.replicaCount .Values.autoscaling.enabled | int }}
{{- end }}

{{- /* What never changes of a release: selectors. */ -}}
{{- define "proactive.selector" -}}
app.kubernetes.io/name: {{ include "proactive.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "proactive.labels" -}}
{{ include "proactive.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "proactive.metadata" -}}
name: {{ include "proactive.fullname" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "proactive.labels" . | nindent 2 }}
{{- end }}

{{- define "proactive.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "proactive.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end }}

{{- define "proactive.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end }}

{{- /* Where a NetworkPolicy lets somebody in from; an empty list is everywhere. */ -}}
{{- define "proactive.from" -}}
{{- if . }}
from:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Whether the server reads GOOGLE_GENAI_USE_VERTEXAI as yes. */ -}}
{{- define "proactive.onVertex" -}}
{{- if has (.Values.config.GOOGLE_GENAI_USE_VERTEXAI | default "" | trim | lower) (list "true" "1") -}}
yes
{{- end -}}
{{- end }}

{{- /* The port of HTTPS, and those of the configured URLs, as JSON. */ -}}
{{- define "proactive.httpPorts" -}}
{{- $ports := list 443 -}}
{{- range list "FIREBASE_KEYS_URL" "GOOGLE_GEMINI_BASE_URL" "GOOGLE_VERTEX_BASE_URL" "OTEL_EXPORTER_OTLP_ENDPOINT" -}}
{{- with get $.Values.config . | default "" | trim -}}
{{- $url := urlParse . -}}
{{- $own := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- $ports = append $ports ($own | default (ternary 443 80 (eq $url.scheme "https")) | int) -}}
{{- end -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end }}
