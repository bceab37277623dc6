"""Published ways of moving an object, each with its own constants, to compare with."""
