"""What tests share: the product's programs, a router between two hosts, frames, evidence."""
