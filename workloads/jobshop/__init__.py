"""The job shop as a workload: instances, interruptions, and the file that asks for them."""
