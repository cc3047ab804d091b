SELECT id, format FROM plans WHERE digest = ?1;
