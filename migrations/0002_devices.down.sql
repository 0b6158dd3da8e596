DROP TABLE device_commands;
DROP TABLE device_links;
DROP TABLE devices;
