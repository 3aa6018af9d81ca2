//! What a page of metrics says, and when.

use super::*;

#[test]
fn what_can_be_counted_is_there_from_the_start() {
    let page = Metrics::new().render();
    for line in [
        "proactive_sessions_ended_total{end=\"crashed\"} 0",
        "proactive_frames_total{result=\"internal\"} 0",
        "proactive_stream_auth_total{result=\"unavailable\"} 0",
        "proactive_tool_calls_total{tool=\"search_keywords\",result=\"timeout\"} 0",
    ] {
        assert!(page.contains(line), "{line} is missing in\n{page}");
    }
}

#[test]
fn the_page_names_every_metric_with_its_labels() {
    let metrics = Metrics::new();
    let model: Arc<str> = "m".into();
    metrics.session_opened();
    metrics.session_ended(SessionEnd::Drained);
    metrics.frame_ended(FrameResult::Superseded);
    metrics.model_call(&model, ModelCode::Status(429), Duration::from_millis(20));
    let usage = Usage {
        prompt: 10,
        cached: 4,
        output: 3,
        thinking: 2,
    };
    metrics.model_billed(&model, usage, 1_500_000.0);
    metrics.tool_call(
        ToolLabel::SearchSimilar,
        ToolResult::Timeout,
        Duration::from_secs(10),
    );
    let page = metrics.render();
    for line in [
        "proactive_sessions 0",
        "proactive_sessions_ended_total{end=\"drained\"} 1",
        "proactive_frames_total{result=\"superseded\"} 1",
        "proactive_model_calls_total{model=\"m\",code=\"429\"} 1",
        "proactive_model_tokens_total{model=\"m\",kind=\"prompt\"} 6",
        "proactive_model_tokens_total{model=\"m\",kind=\"cached\"} 4",
        "proactive_model_cost_usd_total{model=\"m\"} 1.5",
        "proactive_tool_calls_total{tool=\"search_similar\",result=\"timeout\"} 1",
        "proactive_model_seconds_bucket{le=\"0.05\"} 1",
        "# EOF",
    ] {
        assert!(page.contains(line), "{line} is missing in\n{page}");
    }
}
