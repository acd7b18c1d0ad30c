"""Thing's claims as a machine checks them: models for ProVerif, and what must hold of them."""
