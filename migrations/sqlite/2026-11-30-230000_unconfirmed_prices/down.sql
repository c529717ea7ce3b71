DROP TABLE unconfirmed_prices;
