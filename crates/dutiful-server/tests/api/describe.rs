//! The description of the API, and that it describes what is answered.

use serde_json::{Value, json};

use crate::Site;

/// Returns every path with its methods.
fn routes(api: &Value) -> Vec<(String, String, Value)> {
    let paths = api["paths"].as_object().unwrap();
    let each = |(path, methods): (&String, &Value)| {
        let methods = methods.as_object().unwrap().clone();
        methods.into_iter().map(|(method, what)| (path.clone(), method, what)).collect::<Vec<_>>()
    };
    paths.iter().flat_map(each).collect()
}

#[tokio::test]
async fn the_description_is_whole() {
    let site = Site::file().await;
    let api = site.get("/openapi.json").await.json();
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"), "{}", api["openapi"]);
    let text = api.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(api["components"]["schemas"][name].is_object(), "{name} is not described");
    }
    let routes = routes(&api);
    assert!(routes.len() > 30, "{}", routes.len());
    for (path, method, what) in &routes {
        assert!(what["summary"].as_str().is_some_and(|text| text.ends_with('.') || text.len() > 5));
        let problem = &what["responses"]["default"]["content"]["application/problem+json"];
        assert!(problem.is_object(), "{method} {path} answers with problems");
    }
    site.close().await;
}

#[tokio::test]
async fn every_route_that_is_described_is_there_and_refuses_nonsense_well() {
    let site = Site::file().await;
    let api = site.get("/openapi.json").await.json();
    for (path, method, _) in routes(&api) {
        let nobody = dutiful::JobId::new().to_string();
        let fence = format!("{nobody}~1~00000000000000aa");
        let id = if path.starts_with("/v1/workers") { "77" } else { &nobody };
        let full = path.replace("{id}", id).replace("{queue}", "q").replace("{fence}", &fence);
        if full == "/v1/events" {
            continue;
        }
        let json = "Content-Type: application/json\r\n";
        for body in ["{}", "[]", "{\"x\":", "null", "\"\\ud800\"", ""] {
            let answer = site.ask(&method.to_uppercase(), &full, json, body).await;
            assert!(answer.code < 500, "{method} {full} {body}: {answer:?}");
            assert_ne!(answer.code, 405, "{method} {full}");
            if answer.code == 404 {
                assert!(!answer.body.contains("nothing at this path"), "{method} {full}");
            }
            if answer.code >= 400 {
                assert!(answer.json()["detail"].is_string(), "{method} {full}: {answer:?}");
            }
        }
    }
    assert_eq!(site.get("/v1/stats").await.json()["totals"]["pending"], json!(0));
    site.close().await;
}
