from payment_token.cli.main import main

main()
