"""Models made to order: the requester's rows and request, the developer's card, and who fits whom."""
