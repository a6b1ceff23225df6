vcl 4.1;
backend application {
    .host = "127.0.0.1";
    .port = "$upstream";
    .first_byte_timeout = 60s;
}
sub vcl_recv {
    return (pass);
}
