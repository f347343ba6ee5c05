//! The table of rules: a file for each family, a few lines for each kind. To add a kind, add it here and its cases in `cases/`.

mod api_management;
mod apps_delivery;
mod argo;
mod backup;
mod cert_manager;
mod cloud;
mod cluster_api;
mod crossplane;
mod data_and_ml;
mod databases;
mod datastores;
mod flux;
mod gateway_api;
mod istio;
mod kafka;
mod knative;
mod kubernetes;
mod many_clusters;
mod netapp;
mod network;
mod observability;
mod openshift;
mod policy;
mod scaling;
mod secrets;
mod storage;
mod strimzi;
mod tekton;
mod virtualization;

use super::rule::Family;

/// Every family, in the order of the documentation.
pub(super) const FAMILIES: &[&Family] = &[
    &kubernetes::FAMILY,
    &argo::FAMILY,
    &flux::FAMILY,
    &cert_manager::FAMILY,
    &secrets::FAMILY,
    &crossplane::FAMILY,
    &cluster_api::FAMILY,
    &cloud::AWS,
    &cloud::GOOGLE,
    &cloud::AZURE,
    &cloud::OTHERS,
    &openshift::FAMILY,
    &openshift::OLM,
    &openshift::ACM,
    &many_clusters::FAMILY,
    &gateway_api::FAMILY,
    &istio::FAMILY,
    &api_management::GATEWAYS,
    &api_management::THREESCALE_FAMILY,
    &network::FAMILY,
    &knative::FAMILY,
    &scaling::FAMILY,
    &tekton::FAMILY,
    &apps_delivery::FAMILY,
    &observability::PROMETHEUS,
    &observability::GRAFANA,
    &observability::VICTORIA_METRICS,
    &observability::OTHERS,
    &databases::FAMILY,
    &datastores::FAMILY,
    &datastores::ELASTIC,
    &datastores::RABBITMQ,
    &strimzi::FAMILY,
    &kafka::FAMILY,
    &storage::FAMILY,
    &netapp::FAMILY,
    &backup::FAMILY,
    &virtualization::FAMILY,
    &policy::FAMILY,
    &data_and_ml::FAMILY,
];
