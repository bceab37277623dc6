"""Many jobs at once: manifests and folders, the run, its log and report, and who does the work."""
