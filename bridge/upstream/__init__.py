"""The wallet: attempts, credentials and their rotation, and what is made of the settings for them."""
