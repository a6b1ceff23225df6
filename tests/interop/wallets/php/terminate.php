<?php
// The interoperability suite's wallet for php-fpm. See ../../README.md for what every wallet does.
declare(strict_types=1);

function fault(string $body): string
{
    if (($_SERVER['CONTENT_LENGTH'] ?? '') !== (string) strlen($body)) {
        return 'content-length';
    }
    if (($_SERVER['HTTP_AUTHORIZATION'] ?? '') !== getenv('INTEROP_AUTHORIZATION')) {
        return 'authorization';
    }
    $signature = hash_hmac('sha256', $body, getenv('INTEROP_PRIVATE_KEY'));
    return ($_SERVER['HTTP_X_REQUEST_SIGNATURE'] ?? '') === $signature ? '-' : 'signature';
}

$body = file_get_contents('php://input');
$token = preg_match('/"token":"([^"]*)"/', $body, $found) ? $found[1] : 'none';
$fault = fault($body);
file_put_contents(getenv('INTEROP_LEDGER'), "$token $fault " . base64_encode($body) . "\n", FILE_APPEND | LOCK_EX);
if ($fault === '-' && str_contains($token, 'slow')) {
    usleep((int) (1e6 * (float) getenv('INTEROP_SLOW_S')));
}
header('content-type: application/json');
if ($fault === '-') {
    echo '{"code":1,"status":true,"message":"","request_id":"r","balance":1.50,' . substr($body, 1);
} else {
    http_response_code(401);
    echo '{"code":3,"status":false,"message":"refused"}';
}
