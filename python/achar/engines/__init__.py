"""achar inside the engines that run tasks on many machines: one module for each, none imported by itself."""
