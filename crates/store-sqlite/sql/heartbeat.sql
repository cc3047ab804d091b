UPDATE workers SET heartbeat_at = ?2, expires_at = ?2 + lease WHERE id = ?1;
