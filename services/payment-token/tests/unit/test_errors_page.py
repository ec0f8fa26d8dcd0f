from payment_token.api.errors_page import errors_page
from payment_token.settings import SERVICE_FOLDER


def test_the_page_is_what_the_table_says() -> None:
    page = SERVICE_FOLDER.parents[1] / "docs" / "errors.md"

    assert (
        page.read_text() == errors_page()
    ), "python -m payment_token.api.errors_page > ../../docs/errors.md"
