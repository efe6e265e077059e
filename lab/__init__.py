"""Sluice's lab: topologies as data, built of virtual machines or of processes in namespaces. See lab/README.md."""
