"""One push over many hosts: what each is asked, what its answer means, and how it all ends."""
