"""Everything that can die, hang, fill up or tell the wrong time does so, and no message is lost or answered twice."""
