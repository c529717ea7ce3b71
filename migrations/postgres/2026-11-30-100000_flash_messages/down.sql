DROP TABLE flash_messages;
