"""What the network makes of the average face, and how that was found out."""
