"""What AgentDojo's tools do beyond answering. It does not say so itself; a tool that is not named here is held to do anything.

Whoever runs a benchmark is the operator, so this is operator text: it must not depend on anything in an environment.
"""

from dataclasses import dataclass

from delegator.policy import UNDECLARED, Effects
from delegator.trust import OPERATOR, Label, untrusted


@dataclass(frozen=True, slots=True)
class Kind:
    """What some tools have in common."""

    effects: Effects
    trusted: bool = False
    """Whether nobody but the system writes what it returns."""
    private: bool = False
    """Whether only the person may see it."""

    def label(self, tool: str) -> Label:
        """What a result is worth."""
        return OPERATOR if self.trusted else untrusted(f"tool:{tool}", private=self.private)


CLOCK = Kind(Effects(reads=True), trusted=True)
OWN = Kind(Effects(reads=True), private=True)
"""Reads the person's own mail, files, accounts: others wrote parts of it."""
PUBLIC = Kind(Effects(reads=True))
"""Reads what everybody may see: listings, prices, reviews."""
FETCHES = Kind(Effects(sends=True))
"""Reads something elsewhere: its input leaves."""
CHANGES = Kind(Effects(writes=True), private=True)
"""Changes something in the person's own accounts."""
SENDS = Kind(Effects(writes=True, sends=True), private=True)
"""Reaches others: mail, money, invitations, bookings."""
UNKNOWN = Kind(UNDECLARED, private=True)

_TOOLS: dict[Kind, str] = {
    CLOCK: "get_current_day",
    OWN: """
        get_unread_emails get_sent_emails get_received_emails get_draft_emails search_emails search_contacts_by_name
        search_contacts_by_email search_calendar_events get_day_calendar_events search_files_by_filename get_file_by_id
        list_files search_files get_user_information get_iban get_balance get_most_recent_transactions
        get_scheduled_transactions read_file get_user_info get_channels read_channel_messages read_inbox get_users_in_channel
        """,
    PUBLIC: """
        get_all_hotels_in_city get_hotels_prices get_rating_reviews_for_hotels get_hotels_address get_all_restaurants_in_city
        get_cuisine_type_for_restaurants get_restaurants_address get_rating_reviews_for_restaurants
        get_dietary_restrictions_for_all_restaurants get_contact_information_for_restaurants get_price_for_restaurants
        check_restaurant_opening_hours get_all_car_rental_companies_in_city get_car_types_available
        get_rating_reviews_for_car_rental get_car_fuel_options get_car_rental_address get_car_price_per_day
        get_flight_information
        """,
    FETCHES: "get_webpage",
    CHANGES: """
        delete_email append_to_file create_file delete_file reschedule_calendar_event update_password update_user_info
        """,
    SENDS: """
        send_email create_calendar_event cancel_calendar_event add_calendar_event_participants share_file send_money
        schedule_transaction update_scheduled_transaction reserve_hotel reserve_car_rental reserve_restaurant
        send_direct_message send_channel_message add_user_to_channel invite_user_to_slack remove_user_from_slack post_webpage
        """,
}
_KINDS = {tool: kind for kind, tools in _TOOLS.items() for tool in tools.split()}


def kind_of(tool: str) -> Kind:
    """What a tool does."""
    return _KINDS.get(tool, UNKNOWN)
