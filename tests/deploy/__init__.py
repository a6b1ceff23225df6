"""What deploy/ offers: manifests, charts, alerts, dashboards."""
