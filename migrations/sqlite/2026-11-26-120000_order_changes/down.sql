DROP INDEX orders_ended;
