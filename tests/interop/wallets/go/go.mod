module wallet

go 1.26.0
