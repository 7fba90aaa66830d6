"""The spool: a log on this machine for events that Kafka did not acknowledge."""
