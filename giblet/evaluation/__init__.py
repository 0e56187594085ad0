"""How good an encoding or a reconstruction is, against what it could be at best and by chance."""
