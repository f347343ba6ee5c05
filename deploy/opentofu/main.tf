# What has to be in a cluster before Git can say what is in it: Lockstep, and one Application.

resource "kubernetes_namespace_v1" "this" {
  count = var.create_namespace ? 1 : 0

  metadata {
    name = var.namespace
  }

  lifecycle {
    # Others label namespaces too.
    ignore_changes = [metadata[0].labels, metadata[0].annotations]
  }
}

locals {
  chart_values = {
    image = {
      registry = var.image_registry
      tag      = var.image_tag
    }
    bus = {
      existingSecret = var.secrets.bus.name
      key            = var.secrets.bus.key
    }
    receiver = {
      enabled = var.receiver_enabled
      webhookSecret = {
        existingSecret = var.secrets.webhook.name
        key            = var.secrets.webhook.key
      }
      ingress = {
        enabled   = var.receiver_host != ""
        host      = var.receiver_host
        className = var.ingress_class
      }
    }
    worker = {
      cluster = var.cluster
      forges = [{
        kind   = var.forge.kind
        apiUrl = var.forge.api_url
        tokenSecret = {
          name = var.secrets.forge.name
          key  = var.secrets.forge.key
        }
      }]
      gitCredentials = {
        existingSecret = var.secrets.git.name
        key            = var.secrets.git.key
      }
    }
  }
}

resource "helm_release" "lockstep" {
  name      = "lockstep"
  namespace = var.namespace
  chart     = "${path.module}/../chart"

  # Pods start when the Secrets are there, which may be later than this apply.
  wait   = false
  values = [yamlencode(local.chart_values), yamlencode(var.values)]

  depends_on = [kubernetes_namespace_v1.this]
}

# The provider asks the API server for the resource's schema when it plans, so the CRDs must be there: see README.md.
resource "kubernetes_manifest" "root" {
  count = var.root == null ? 0 : 1

  manifest = {
    apiVersion = "argoproj.io/v1alpha1"
    kind       = "Application"
    metadata = {
      name      = "root"
      namespace = var.namespace
    }
    spec = {
      project = var.root.project
      source = {
        repoURL        = var.root.repository
        targetRevision = var.root.revision
        path           = var.root.path
        directory = {
          recurse = true
          include = var.root.include
        }
      }
      destination = {
        server    = "https://kubernetes.default.svc"
        namespace = var.namespace
      }
      syncPolicy = {
        automated = {
          prune    = true
          selfHeal = true
        }
      }
    }
  }

  # The worker writes its annotations.
  computed_fields = ["metadata.annotations", "metadata.labels"]

  field_manager {
    name = "opentofu"
  }

  depends_on = [helm_release.lockstep]
}
