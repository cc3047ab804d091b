UPDATE runs SET details = 0 WHERE id = ?1;
