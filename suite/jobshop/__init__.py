"""The job shop as a subject of the suite: what joins its workloads and its engines."""
