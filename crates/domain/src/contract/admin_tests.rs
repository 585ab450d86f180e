//! What operators may ask, field by field.

use super::*;

const GOOD: &str = r#""name":"Pixel 10","price_minor":2990000,"currency":"THB","stock":500"#;

#[track_caller]
fn field<T: std::fmt::Debug>(read: Result<T, BodyError>) -> String {
    match read {
        Err(BodyError::InvalidField { field, .. }) => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_product_needs_four_fields_and_the_others_have_defaults() {
    let product = CreateProduct::parse(format!("{{{GOOD}}}").as_bytes()).unwrap();
    assert_eq!((product.stock, product.limit, product.hold_seconds), (500, 1, 0));
    assert_eq!((product.product, product.opens_at_ms), (None, None));
    let more = r#""product_id":7,"limit":2,"hold_seconds":600,"opens_at":"2026-01-31T12:00:00Z""#;
    let product = CreateProduct::parse(format!("{{{GOOD},{more}}}").as_bytes()).unwrap();
    assert_eq!(product.product.unwrap().get(), 7);
    assert_eq!(product.opens_at_ms, Some(1_769_860_800_000));
}

#[test]
fn a_wrong_field_of_a_product_is_named() {
    for (name, bad) in [
        ("product_id", "0"),
        ("limit", "0"),
        ("limit", "1000001"),
        ("limit", "null"),
        ("hold_seconds", "-1"),
        ("hold_seconds", "2147483648"),
        ("opens_at", "\"noon\""),
        ("opens_at", "5"),
        ("closes_at", "\"2026-01-31T12:00:00\""),
        ("state", "\"open\""),
    ] {
        let body = format!("{{{GOOD},\"{name}\":{bad}}}");
        assert_eq!(field(CreateProduct::parse(body.as_bytes())), name, "{bad}");
    }
    for (name, from, to) in [
        ("name", "\"Pixel 10\"", "\" \""),
        ("name", "\"Pixel 10\"", "7"),
        ("price_minor", "2990000", "-1"),
        ("price_minor", "2990000", "1.5"),
        ("currency", "THB", "thb"),
        ("currency", "THB", "BAHT"),
        ("stock", "500", "1000000000000"),
        ("stock", "500", "\"500\""),
    ] {
        let body = format!("{{{GOOD}}}").replace(from, to);
        assert_eq!(field(CreateProduct::parse(body.as_bytes())), name, "{body}");
    }
    assert_eq!(field(CreateProduct::parse(b"{}")), "name");
}

#[test]
fn a_change_keeps_absent_cleared_and_set_apart() {
    let change = ChangeSale::parse(br#"{"opens_at":null,"limit":3}"#).unwrap();
    assert_eq!((change.opens_at_ms, change.closes_at_ms), (Some(None), None));
    assert_eq!((change.limit, change.name), (Some(3), None));
    assert_eq!(field(ChangeSale::parse(br#"{"stock":3}"#)), "stock");
    assert_eq!(field(ChangeSale::parse(br#"{"name":null}"#)), "name");
    assert_eq!(field(ChangeSale::parse(b"{}")), "name", "nothing to change");
}

#[test]
fn an_adjustment_needs_units_a_reason_and_a_key() {
    let body = br#"{"delta":-3,"reason":"damaged"}"#;
    let adjust = AdjustStock::parse(body, Some(b"k-1")).unwrap();
    assert_eq!((adjust.delta, adjust.key.as_str()), (-3, "k-1"));
    assert_eq!(field(AdjustStock::parse(body, None)), "Idempotency-Key");
    for key in [&b""[..], b"a b", b"\xff", &[b'k'; 256]] {
        assert_eq!(field(AdjustStock::parse(body, Some(key))), "Idempotency-Key");
    }
    let bad = |body: &[u8]| field(AdjustStock::parse(body, Some(b"k")));
    assert_eq!(bad(br#"{"delta":0,"reason":"x"}"#), "delta");
    assert_eq!(bad(br#"{"delta":1000000000000,"reason":"x"}"#), "delta");
    assert_eq!(bad(br#"{"delta":1,"reason":""}"#), "reason");
    assert_eq!(bad(br#"{"delta":1}"#), "reason");
}

#[test]
fn a_page_of_orders_is_asked_for_precisely() {
    let list = ListOrders::parse("product_id=1").unwrap();
    assert_eq!((list.limit, list.after, list.status), (ORDERS_DEFAULT, None, None));
    let place = Place { epoch: 2, seq: 9, id: ReservationId(uuid::Uuid::from_u128(7)) };
    let query = format!("status=paid&product_id=1&cursor={}&limit=1000", place.encode());
    let list = ListOrders::parse(&query).unwrap();
    assert_eq!((list.after, list.status), (Some(place), Some(OrderStatus::Paid)));
    for (query, name) in [
        ("", "product_id"),
        ("product_id=0", "product_id"),
        ("product_id=x", "product_id"),
        ("product_id=1&product_id=2", "product_id"),
        ("product_id=1&limit=0", "limit"),
        ("product_id=1&limit=1001", "limit"),
        ("product_id=1&status=queued", "status"),
        ("product_id=1&cursor=1.2", "cursor"),
        ("product_id=1&page=2", "page"),
    ] {
        assert_eq!(field(ListOrders::parse(query)), name, "{query}");
    }
}
