"""What the black-box tests stand on: real servers, real tokens, a raw FastCGI client."""
