"""The HTTP side: thin routes over the domain modules."""
