"""Message contracts, one package per version. Within a version fields are only added."""
