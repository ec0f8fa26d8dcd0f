"""``api/rpc/generated`` is what the compiler makes of ``proto/``, and the enumerations there are the domain's."""

import pytest

from payment_token.api.rpc import completion_messages, decrypt_messages, token_messages
from payment_token.api.rpc.generate import GENERATED_FOLDER, generated
from payment_token.api.rpc.generated import decryption_service_pb2, token_service_pb2
from payment_token.api.rpc.names import Names

NAMES = {
    name: names
    for module in (token_messages, decrypt_messages, completion_messages)
    for name, names in vars(module).items()
    if isinstance(names, Names)
}
ENUMERATIONS = {
    name: enumeration
    for module in (token_service_pb2, decryption_service_pb2)
    for name, enumeration in module.DESCRIPTOR.enum_types_by_name.items()
}


def test_generated_code_is_what_the_compiler_makes():
    found = {
        path.name: path.read_text()
        for path in GENERATED_FOLDER.glob("*.py*")
        if path.name != "__init__.py"
    }

    assert found == generated(), "python -m payment_token.api.rpc.generate"


def test_every_enumeration_is_one_of_the_domain():
    assert len(NAMES) == len(ENUMERATIONS)


@pytest.mark.parametrize("name", NAMES)
def test_an_enumeration_has_the_domain_s_members_and_no_others(name):
    names = NAMES[name]
    numbers = set(names._numbers.values())

    assert any(
        {value.number for value in enumeration.values} == numbers | {0}
        for enumeration in ENUMERATIONS.values()
    )
    assert {names.text(number) for number in numbers} == set(names._numbers)
    assert names.given(0) is None
    assert names.text(99) == "99"


@pytest.mark.parametrize("message", ["PaymentData", "SensitiveAuthenticationData"])
def test_card_data_in_clear_is_marked_as_such(message):
    fields = decryption_service_pb2.DESCRIPTOR.message_types_by_name[message].fields

    assert {field.name for field in fields if not field.GetOptions().debug_redact} <= {"sad_status"}
