SELECT id FROM plans WHERE digest = ?1;
