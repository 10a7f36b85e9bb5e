"""The protocol between the server and the workers of the fleet, on Flower."""
