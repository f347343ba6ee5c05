variable "namespace" {
  description = "Namespace of Lockstep, of the Applications and of the Secrets."
  type        = string
  default     = "argocd"
}

variable "create_namespace" {
  description = "Whether to make the namespace. False where Argo CD or somebody else made it."
  type        = bool
  default     = true
}

variable "cluster" {
  description = "The cluster's name: in checks (lockstep/NAME), in queues, and in destination.name of Applications."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", var.cluster))
    error_message = "Use small letters, digits and dashes."
  }
}

variable "image_registry" {
  description = "Where the two images are, for example images.example.com/team."
  type        = string
}

variable "image_tag" {
  description = "Tag of the two images; empty: the chart's version."
  type        = string
  default     = ""
}

variable "receiver_enabled" {
  description = "Whether webhooks come in at this cluster. One cluster is enough."
  type        = bool
  default     = false
}

variable "receiver_host" {
  description = "Host name of the receiver's Ingress; empty: no Ingress."
  type        = string
  default     = ""
}

variable "ingress_class" {
  description = "Class of the receiver's Ingress."
  type        = string
  default     = ""
}

variable "secrets" {
  description = <<-EOT
    Names and keys of Secrets in the namespace. They are only named here: their content comes from whatever you keep secrets
    with, and never into this module's state. webhook is needed by the receiver alone; an empty git: no credentials file.
  EOT
  type = object({
    bus     = optional(object({ name = string, key = string }), { name = "lockstep-bus", key = "url" })
    webhook = optional(object({ name = string, key = string }), { name = "lockstep-webhook", key = "secrets" })
    forge   = optional(object({ name = string, key = string }), { name = "lockstep-forge", key = "token" })
    git     = optional(object({ name = string, key = string }), { name = "", key = "git-credentials.yaml" })
  })
  default = {}
}

variable "forge" {
  description = "The forge that checks are written to."
  type        = object({ kind = string, api_url = string })
  default     = { kind = "github", api_url = "https://api.github.com" }

  validation {
    condition     = contains(["github", "gitea"], var.forge.kind)
    error_message = "The kind is github or gitea."
  }
}

variable "values" {
  description = "More values for the chart; they win over those that follow from the other variables."
  type        = any
  default     = {}
}

variable "root" {
  description = "The root Application: which folder of which repository this cluster starts with. Null: none, for the first apply."
  type = object({
    repository = string
    revision   = optional(string, "main")
    path       = optional(string, ".")
    include    = optional(string, "{projects/*.yaml,applicationsets/*.yaml}")
    project    = optional(string, "default")
  })
  default = null
}
