SELECT json FROM plans WHERE id = ?1;
