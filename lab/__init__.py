"""Sluice's lab: topologies as data, built of virtual machines or of namespaces. See README.md."""
