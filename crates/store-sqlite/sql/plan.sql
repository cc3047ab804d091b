SELECT format, json FROM plans WHERE id = ?1;
