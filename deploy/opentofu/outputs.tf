output "namespace" {
  description = "Where the Applications are."
  value       = var.namespace
}

output "required_secrets" {
  description = "Secrets that must exist in the namespace before the pods can start."
  value = compact([
    var.secrets.bus.name,
    var.secrets.forge.name,
    var.secrets.git.name,
    var.receiver_enabled ? var.secrets.webhook.name : "",
  ])
}
