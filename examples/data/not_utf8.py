greeting = "good morning"

# Latin-1 without saying so
place = "café"
