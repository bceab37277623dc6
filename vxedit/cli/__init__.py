"""The commands: thin skins that parse into a job, make one call of the library and print the output's path."""
